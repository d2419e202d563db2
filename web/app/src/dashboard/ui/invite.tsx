import { useEffect, useState } from "preact/hooks";
import { duration } from "../format";
import { type Invitation, invite } from "../invite";
import { QrCode } from "./qr_code";

/** Lets one more phone in. */
export function InvitePanel({
  baseUrl,
  token,
}: {
  baseUrl: string;
  token: string;
}) {
  const [made, setMade] = useState<Invitation>();
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const [leftS, setLeftS] = useState(0);

  useEffect(() => {
    if (!made) return;
    const look = () =>
      setLeftS(Math.max(0, (made.untilMs - Date.now()) / 1000));
    look();
    const timer = setInterval(look, 1000);
    return () => clearInterval(timer);
  }, [made]);

  async function make() {
    setBusy(true);
    setProblem("");
    try {
      setMade(await invite(baseUrl, token));
    } catch (error) {
      setMade(undefined);
      setProblem(error instanceof Error ? error.message : String(error));
    }
    setBusy(false);
  }

  const ended = made !== undefined && leftS <= 0;
  return (
    <section class="panel" aria-labelledby="invite">
      <h2 id="invite">Invite a phone</h2>
      <p>
        Scan the code with a phone's camera, and it opens the page and trains
        along. Each code lets one phone in.
      </p>
      <div role="status">
        {made && !ended && (
          <>
            <QrCode text={made.url} />
            <p>
              <a href={made.url}>{made.url}</a>
            </p>
          </>
        )}
        {ended && <p>That code has ended.</p>}
      </div>
      {made && !ended && <p class="hint">Good for {duration(leftS)}.</p>}
      {problem && (
        <div class="note problem" role="alert">
          <strong>There is no code.</strong> {problem}
        </div>
      )}
      <div class="buttons">
        <button type="button" disabled={busy} onClick={() => void make()}>
          {made ? "Make another code" : "Make a code"}
        </button>
      </div>
    </section>
  );
}
