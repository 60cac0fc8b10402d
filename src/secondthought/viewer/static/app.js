// Theme, keyboard and the small comforts. Every page works without it.
"use strict";

function turnTheme() {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const next = dark ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
}
document.getElementById("theme").addEventListener("click", turnTheme);

const rows = () => [...document.querySelectorAll("[data-rows] > *")];
function move(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.classList.contains("here"));
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  all.forEach((row, i) => row.classList.toggle("here", i === next));
  const target = all[next].querySelector("a") || all[next];
  target.focus({ preventScroll: true });
  all[next].scrollIntoView({ block: "nearest" });
}

const places = { r: "/" };
document.querySelectorAll("header nav a").forEach((a) => { places[a.textContent.trim()[0].toLowerCase()] = a.getAttribute("href"); });
let going = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (typing) { if (event.key === "Escape") event.target.blur(); return; }
  if (Date.now() - going < 1200 && places[event.key]) { location.href = places[event.key]; return; }
  if (event.key === "g") going = Date.now();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "t") turnTheme();
  else if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "/") {
    const search = document.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
});

const filters = document.getElementById("filters");
if (filters) {
  filters.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") filters.requestSubmit(); });
  filters.addEventListener("formdata", (event) => { // short addresses, good to send to somebody
    for (const [key, value] of [...event.formData]) if (!value || (key === "sort" && value === "newest")) event.formData.delete(key);
  });
}
if (document.querySelector("[data-again]")) setTimeout(() => location.reload(), 1000);
const chosen = location.hash && document.getElementById(location.hash.slice(1));
if (chosen && chosen.classList.contains("episode")) chosen.scrollIntoView({ block: "nearest" });
