/** biome-ignore-all lint/a11y/noRedundantRoles: cards are no table to browsers */
import type { ComponentChildren } from "preact";

/** A table whose rows become cards where there is no room for columns. */
export function Cards({
  titles,
  children,
}: {
  titles: readonly string[];
  children: ComponentChildren;
}) {
  return (
    <table role="table" class="cards">
      <thead role="rowgroup">
        <tr role="row">
          {titles.map((title) => (
            <th key={title} scope="col" role="columnheader">
              {title}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">{children}</tbody>
    </table>
  );
}
