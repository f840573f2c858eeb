// A click makes a frame as wide as the picture, with those above it; a click on the first row shows
// all again.
(function () {
  const svg = document.currentScript.closest("svg");
  const width = svg.viewBox.baseVal.width;
  const frames = Array.from(svg.querySelectorAll(".flame > g"), g => {
    const rect = g.querySelector("rect"), text = g.querySelector("text");
    return { g, rect, text, name: g.dataset.n, x: +rect.getAttribute("x"), w: +rect.getAttribute("width"), y: +rect.getAttribute("y") };
  });
  function zoom(to) {
    for (const f of frames) {
      const above = f.y < to.y && f.x <= to.x + 0.01 && f.x + f.w >= to.x + to.w - 0.01;
      const below = f.y >= to.y && f.x >= to.x - 0.01 && f.x + f.w <= to.x + to.w + 0.01;
      f.g.style.display = above || below ? "" : "none";
      if (!above && !below) continue;
      const x = above ? 0 : (f.x - to.x) / to.w * width, w = above ? width : f.w / to.w * width;
      f.rect.setAttribute("x", x);
      f.rect.setAttribute("width", w);
      f.text.setAttribute("x", x + 3);
      const letters = Math.floor((w - 6) / 6.2);
      f.text.textContent = letters < 3 ? "" : f.name.length > letters ? f.name.slice(0, letters - 1) + "…" : f.name;
    }
  }
  for (const f of frames) f.g.addEventListener("click", () => zoom(f));
})();
