import { render } from "preact";
import "../style/page.css";
import "../style/dashboard.css";
import { App } from "./ui/app";
import { asks, Watch } from "./watch";

const watch = new Watch(asks(location.origin));
const root = document.querySelector("#app");
if (root) render(<App watch={watch} baseUrl={location.origin} />, root);
watch.soon();
// Timers of a hidden tab hardly run.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && watch.state.value.kind !== "locked") watch.soon();
});
