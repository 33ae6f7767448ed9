"use strict";
// The player of a clip's page: one cursor over all strips, seeking by click and key, zoom, theme.
(() => {
  const audio = document.querySelector("audio");
  const scroller = document.querySelector(".scroller");
  const timeline = document.querySelector(".timeline");
  const over = document.querySelector(".timeline > .over");
  const cursor = document.querySelector(".cursor");
  const now = document.querySelector(".now");
  const models = JSON.parse(document.getElementById("data").textContent);
  const tables = [...document.querySelectorAll(".beam-now")];
  const LARGEST_ZOOM = 64;
  const READABLE_PX = 10; // of a frame, which is as wide as a letter
  let zoom = 1;

  const share = () => (audio.duration ? audio.currentTime / audio.duration : 0);

  function cell(row, text, kind) {
    const td = row.insertCell();
    td.textContent = text;
    if (kind) td.className = kind;
  }

  function isolated(text) { // what it holds turns nothing around that stands beside it
    const bdi = document.createElement("bdi");
    bdi.textContent = text;
    return bdi;
  }

  function showBeam(table, model, frame) {
    table.replaceChildren();
    for (const [number, logp, merged, isNew] of model.beams[frame] ?? []) {
      const row = table.insertRow();
      row.insertCell().append(isolated(model.prefixes[number] || "(nothing yet)"));
      row.cells[0].className = "l";
      cell(row, isNew ? "new" : merged >= 0.1 ? "merged" : "", "soft");
      cell(row, logp.toFixed(2));
    }
  }

  function show() {
    cursor.style.left = `${100 * share()}%`;
    now.textContent = `${audio.currentTime.toFixed(2)} s:`;
    models.forEach((model, i) => {
      const last = model.beams.length - 1;
      const frame = Math.floor((audio.currentTime - model.start) / model.step);
      const inside = Math.max(0, Math.min(last, frame));
      showBeam(tables[i], model, inside);
      const likeliest = model.likeliest[inside] ?? [];
      now.append(i ? " | " : " ");
      for (const [symbol, p] of likeliest) {
        now.append(isolated(symbol), ` ${Math.round(100 * p)} % `);
      }
    });
  }

  function keepInView() {
    const at = over.offsetLeft + share() * over.clientWidth;
    const left = scroller.scrollLeft;
    if (at < left + 60 || at > left + scroller.clientWidth - 20) {
      scroller.scrollLeft = at - scroller.clientWidth / 3;
    }
  }

  function follow() {
    show();
    keepInView();
    if (!audio.paused && !audio.ended) requestAnimationFrame(follow);
  }

  function seek(seconds) {
    if (audio.duration) audio.currentTime = Math.max(0, Math.min(audio.duration, seconds));
    show();
  }

  function setZoom(value) {
    const at = share();
    zoom = Math.max(1, Math.min(LARGEST_ZOOM, value));
    timeline.style.setProperty("--zoom", zoom);
    scroller.scrollLeft = over.offsetLeft + at * over.clientWidth - scroller.clientWidth / 2;
  }

  function toggleTheme() {
    const root = document.documentElement;
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    root.dataset.theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
  }

  const toggle = () => (audio.paused ? audio.play() : audio.pause());
  const actions = {
    in: () => setZoom(zoom * 1.5),
    out: () => setZoom(zoom / 1.5),
    theme: toggleTheme,
  };

  timeline.addEventListener("click", (event) => {
    if (!event.target.closest(".plot, .axis")) return;
    const box = over.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * audio.duration);
  });
  document.querySelector(".buttons").addEventListener("click", (event) => {
    actions[event.target.dataset.do]?.();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("audio, button, summary") && event.key === " ") return;
    const step = event.shiftKey ? 1 : 0.1;
    const keys = {
      " ": toggle,
      ArrowLeft: () => seek(audio.currentTime - step),
      ArrowRight: () => seek(audio.currentTime + step),
      Home: () => seek(0),
      End: () => seek(audio.duration),
      "+": actions.in,
      "=": actions.in,
      "-": actions.out,
    };
    if (!keys[event.key] || event.target.closest("audio")) return;
    event.preventDefault();
    keys[event.key]();
    keepInView();
  });
  for (const name of ["timeupdate", "seeked", "loadedmetadata"]) audio.addEventListener(name, show);
  audio.addEventListener("play", () => requestAnimationFrame(follow));
  const mostFrames = Math.max(...models.map((model) => model.beams.length));
  const aside = timeline.clientWidth - over.clientWidth;
  setZoom((READABLE_PX * mostFrames + aside) / timeline.clientWidth);
  scroller.scrollLeft = 0;
  show();
})();
