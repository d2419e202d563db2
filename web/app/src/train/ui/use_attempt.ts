import { useSignal } from "@preact/signals";

/** Does something that may fail, and keeps what went wrong. */
export function useAttempt() {
  const problem = useSignal<unknown>(null);
  const busy = useSignal(false);
  return {
    problem,
    busy,
    dismiss: () => {
      problem.value = null;
    },
    attempt: async (action: () => void | Promise<void>): Promise<void> => {
      problem.value = null;
      busy.value = true;
      try {
        await action();
      } catch (error) {
        problem.value = error;
      } finally {
        busy.value = false;
      }
    },
  };
}
