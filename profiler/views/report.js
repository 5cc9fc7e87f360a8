// The report's own script: puts the timeline in its place, ties the source listing to it, switches light and dark.

const place = document.getElementById("timeline");
const dark = matchMedia("(prefers-color-scheme: dark)");

async function start() {
  const { timeline } = JSON.parse(document.getElementById("data").textContent);
  const data = await unpack(fromBase64(timeline));
  const places = [...document.querySelectorAll("[data-line]:not(.nkt *)")];
  const listing = new Map(places.filter((row) => row.closest(".code")).map((row) => [`${row.dataset.file}:${row.dataset.line}`, row]));
  const onChange = ({ place: at }) => {
    document.querySelector(".code .lit")?.classList.remove("lit");
    if (at) listing.get(`${at.file}:${at.number}`)?.classList.add("lit");
  };
  const drawn = mount(place, data, { height: Math.max(460, Math.min(720, innerHeight - 180)), onChange });
  requestAnimationFrame(() => performance.mark("nkilab-painted")); // after the timeline's own frame, asked for before
  for (const row of places) {
    row.addEventListener("click", () => {
      drawn.selectPlace(row.dataset.file, Number(row.dataset.line));
      document.getElementById("section-timeline").scrollIntoView({ behavior: "smooth" });
    });
  }
  return drawn;
}

const drawn = start().catch((error) => {
  place.textContent = `The timeline cannot be shown: ${error.message}`;
});

const toggle = document.getElementById("scheme");
toggle.hidden = false;
toggle.addEventListener("click", async () => {
  const now = document.documentElement.dataset.scheme ?? (dark.matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.scheme = next;
  (await drawn)?.setScheme(next);
});
