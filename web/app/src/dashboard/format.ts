/** Figures as `keras-split status` writes them. */

/** `12,345`. */
export function number(value: number): string {
  return value.toLocaleString("en-US");
}

/** `0`, `0.42`, `7.5`, `120`; a dash if it is not known. */
export function rate(value: number | null): string {
  if (value === null) return "–";
  if (value >= 100) return number(Math.round(value));
  return value.toFixed(value > 0 && value < 1 ? 2 : 1);
}

/** `512 B`, `1.0 MiB`. */
export function bytes(value: number): string {
  if (value < 1024) return `${Math.round(value)} B`;
  const units = ["KiB", "MiB", "GiB", "TiB", "PiB"];
  let scaled = value / 1024;
  let unit = 0;
  // What would be written as 1024 is 1.0 of the next.
  while (scaled >= 1023.5 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${scaled.toFixed(scaled < 9.95 ? 1 : 0)} ${units[unit]}`;
}

/** `3 s`, `1:40`, `2:03:04`, `5 days 2:03:04`. */
export function duration(seconds: number): string {
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const all = Math.round(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const [days, hours] = [Math.floor(all / 86_400), Math.floor(all / 3600) % 24];
  const [minutes, rest] = [Math.floor(all / 60) % 60, all % 60];
  if (days)
    return `${days} ${days === 1 ? "day" : "days"} ${hours}:${two(minutes)}:${two(rest)}`;
  if (hours) return `${hours}:${two(minutes)}:${two(rest)}`;
  return `${minutes}:${two(rest)}`;
}

/** `0.42 ms`, `35 ms`, `2.1 s`; a dash if it is not known. */
export function brief(seconds: number | null): string {
  if (seconds === null) return "–";
  if (seconds >= 0.9995) return `${seconds.toFixed(1)} s`;
  const ms = 1000 * seconds;
  return `${ms >= 9.95 ? ms.toFixed(0) : Number(ms.toPrecision(2))} ms`;
}

/** An address without the kind: `10.0.0.2:40312`. */
export function address(peer: string): string {
  return peer.replace(/^ipv[46]:/, "");
}

/** Time of day. */
export function clock(atMs: number): string {
  return new Date(atMs).toLocaleTimeString([], { hour12: false });
}
