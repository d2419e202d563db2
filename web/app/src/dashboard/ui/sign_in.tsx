import { useState } from "preact/hooks";

/** Asks for the operator's token. */
export function SignIn(props: { text: string; open: (token: string) => void }) {
  const [token, setToken] = useState("");
  return (
    <main class="sign-in">
      <section class="panel">
        <h1>keras_split server</h1>
        <p>
          What this server is doing is shown to who runs it. The operator's
          token is in the file of <code>serve --operator-token</code>.
        </p>
        {props.text && (
          <div class="note problem" role="alert">
            <strong>That token does not open it.</strong> {props.text}
          </div>
        )}
        <form
          class="sign-in-form"
          onSubmit={(event) => {
            event.preventDefault();
            if (token.trim()) props.open(token.trim());
          }}
        >
          <label>
            Operator's token
            <input
              type="password"
              name="token"
              autocomplete="current-password"
              required
              value={token}
              onInput={(event) => setToken(event.currentTarget.value)}
            />
          </label>
          <button type="submit">Open the dashboard</button>
        </form>
        <p class="hint">This tab keeps it until it is closed.</p>
      </section>
    </main>
  );
}
