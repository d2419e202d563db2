import type { ComponentChildren } from "preact";
import { explain } from "../explain";

interface Props {
  readonly problem: unknown;
  readonly onDismiss?: () => void;
  /** What can be done about it here. */
  readonly children?: ComponentChildren;
}

/** An error, in words, where it happened; a screen reader says it at once. */
export function ProblemNote({ problem, onDismiss, children }: Props) {
  if (!problem) return null;
  const { happened, advice } = explain(problem);
  return (
    <div class="note problem" role="alert">
      <p>
        <strong>{happened}</strong>
      </p>
      <p>{advice}</p>
      <div class="buttons">
        {children}
        {onDismiss && (
          <button type="button" class="quiet" onClick={onDismiss}>
            Close this note
          </button>
        )}
      </div>
    </div>
  );
}
