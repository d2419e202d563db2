import { useSignal } from "@preact/signals";
import { isOfHalf } from "../explain";
import { pastedInvitation } from "../join";
import type { Visit } from "../visit";
import { ProblemNote } from "./problem_note";

/** Until the phone is ready: what is being done, or what is in the way. */
export function Opening({ visit }: { readonly visit: Visit }) {
  const pasted = useSignal("");
  const problem = visit.problem.value;
  if (!problem) {
    return (
      <div class="panel opening">
        <p role="status">{visit.doing.value}</p>
        <progress aria-label="Opening" />
      </div>
    );
  }
  const startAfresh = () => {
    const sure = confirm(
      "Delete what this phone has learned? Photos and names stay.",
    );
    if (sure) visit.startAfresh();
  };
  const open = (event: SubmitEvent) => {
    event.preventDefault();
    visit.open(pastedInvitation(pasted.value) || null);
  };
  return (
    <div class="panel opening">
      <ProblemNote problem={problem}>
        <button type="button" onClick={() => visit.open()}>
          Try again
        </button>
        {isOfHalf(problem) && (
          <button type="button" class="second" onClick={startAfresh}>
            Start afresh
          </button>
        )}
      </ProblemNote>
      <form onSubmit={open}>
        <label for="invitation">Invitation (an address or its token)</label>
        <div class="buttons">
          <input
            id="invitation"
            type="text"
            autocomplete="off"
            spellcheck={false}
            required
            value={pasted.value}
            onInput={(event) => {
              pasted.value = event.currentTarget.value;
            }}
          />
          <button type="submit" class="second">
            Join
          </button>
        </div>
      </form>
    </div>
  );
}
