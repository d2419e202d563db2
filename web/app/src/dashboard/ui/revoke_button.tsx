import { useState } from "preact/hooks";
import { revoke } from "../revoke";

/** Shows a phone the door. */
export function RevokeButton({
  baseUrl,
  token,
  client,
}: {
  baseUrl: string;
  token: string;
  client: string;
}) {
  const [said, setSaid] = useState("");

  async function take() {
    const sure = confirm(
      `Take back the token of ${client}? It can train no more here, until it joins with another code.`,
    );
    if (!sure) return;
    try {
      await revoke(baseUrl, token, client);
      setSaid("Its token is taken back.");
    } catch (error) {
      setSaid(error instanceof Error ? error.message : String(error));
    }
  }

  return (
    <>
      <button
        type="button"
        class="quiet"
        aria-label={`Take back the token of ${client}`}
        onClick={() => void take()}
      >
        Take back
      </button>{" "}
      <span role="status">{said}</span>
    </>
  );
}
