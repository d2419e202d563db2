import { render } from "preact";
import "../style/page.css";
import "../style/train.css";
import { serverOf } from "./phone/server";
import { App } from "./ui/app";
import { invitationHere, Visit } from "./visit";

async function main(): Promise<void> {
  const fake = import.meta.env.MODE === "fake";
  const server = fake
    ? (await import("./phone/fake_server")).fakeServerOf
    : serverOf;
  const visit = new Visit(location.origin, server);
  const root = document.getElementById("app");
  if (root) render(<App visit={visit} />, root);
  await visit.open(invitationHere());
}

main();
if ("serviceWorker" in navigator && import.meta.env.PROD) {
  // Without one the page works as well, but is loaded anew each time.
  navigator.serviceWorker.register("/sw.js").catch(() => undefined);
}
