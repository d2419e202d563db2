/** Small drawings beside words; never instead of them. */
const PATHS = {
  camera:
    "M4 8h3l2-3h6l2 3h3v11H4zM12 10.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7z",
  files: "M4 5h6l2 3h8v11H4zM12 11v5M9.5 13.5h5",
  samples: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  play: "M7 4l13 8-13 8z",
  pause: "M7 5v14M17 5v14",
  bin: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  turn: "M4 12a8 8 0 0 1 14-5.3M20 4v4h-4M20 12a8 8 0 0 1-14 5.3M4 20v-4h4",
  close: "M6 6l12 12M18 6L6 18",
  plus: "M12 5v14M5 12h14",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
