import type { ComponentChildren } from "preact";

/**
 * A figure as people read it, and as programs do: `value` is the number as the
 * server said it, `name` as `StatusReply` calls it.
 */
export function Figure({
  name,
  value,
  children,
}: {
  name: string;
  value: number | null;
  children: ComponentChildren;
}) {
  return (
    <data value={value ?? ""} data-figure={name}>
      {children}
    </data>
  );
}
