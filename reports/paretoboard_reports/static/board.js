// The board's table: order, filters, the choice of columns, links to it all, and downloads of what is seen.
// Everything is on the page without this script; it needs no network and works from file://.
(function () {
  "use strict";
  const board = document.querySelector("section.board");
  if (!board) return;
  const all = (query, from = board) => [...from.querySelectorAll(query)];
  const table = board.querySelector("table.ranking");
  const rows = [...table.tBodies];
  const byId = new Map(rows.map((row) => [row.id, row]));
  const heads = new Map([...table.tHead.rows[0].cells].map((head) => [head.dataset.k, head]));
  const cells = new Map(rows.map((row) => [row, new Map(all("[data-k]", row).map((cell) => [cell.dataset.k, cell]))]));
  const axes = all(".choose input");
  const inputs = new Map(all(".filters input[data-key]").map((input) => [input.dataset.key, input]));
  const facets = new Map(all(".filters fieldset[data-key]").map((set) => [set.dataset.key, all("input", set)]));
  const marks = new Map(rows.map((row) => [row.id, []]));
  all(".plot [data-row]").forEach((mark) => marks.get(mark.dataset.row).push(mark));
  const words = new Map(rows.map((row) => [row, `${all(".recipe, .steps, .reason", row).map((part) => part.textContent).join(" ")}`.toLowerCase()]));
  const heard = board.querySelector(".heard");
  const MOST_COMPARED = 5;

  // --- State: a map of the keys in the address, as they are written there; other keys are kept as they are.
  const decoded = (text) => { try { return decodeURIComponent(text); } catch { return ""; } };
  const list = (text) => (text ? text.split(",").map(decoded).filter(Boolean) : []);
  const joined = (values) => values.map(encodeURIComponent).join(",");
  const amount = (text) => (/^\d{1,15}(\.\d{1,15})?$/.test(decoded(text)) ? decoded(text) : "");
  const CHECKS = new Map([
    ["q", (text) => encodeURIComponent(decoded(text).slice(0, 200).trim().toWellFormed?.() ?? "")],
    ...["family", "model", "backend", "status"].map((key) => [
      key, (text) => joined((facets.get(key) || []).map((box) => box.value).filter((value) => list(text).includes(value))),
    ]),
    ["max", amount],
    ["min", amount],
    ["front", (text) => (text === "1" ? text : "")],
    ["x", (text) => (axes.slice(1).some((axis) => axis.value === text) ? text : "")],
    ["sort", (text) => (text !== "front" && heads.has(text.replace(/^-/, "")) ? text : "")],
    ["sel", (text) => joined([...new Set(list(text).filter((run) => /^r[0-9a-f]{1,64}$/.test(run)))].slice(0, MOST_COMPARED))],
  ]);
  let state = new Map();
  const get = (key) => state.get(key) || "";

  function parsed(text) {
    const found = new Map();
    for (const part of text.replace(/^#/, "").split("&")) {
      const cut = part.indexOf("=");
      if (cut < 1) continue;
      const key = part.slice(0, cut), check = CHECKS.get(key);
      const value = check ? check(part.slice(cut + 1)) : part.slice(cut + 1);
      if (value || !check) found.set(key, value);
    }
    return found;
  }

  function address() {
    const known = [...CHECKS.keys()].filter(get).map((key) => `${key}=${get(key)}`);
    const others = [...state].filter(([key]) => !CHECKS.has(key)).map(([key, value]) => `${key}=${value}`);
    const parts = [...known, ...others];
    return parts.length ? `#${parts.join("&")}` : location.pathname + location.search;
  }

  function change(changes, typing) {
    for (const [key, value] of Object.entries(changes)) {
      const valid = CHECKS.get(key)(value);
      if (valid) state.set(key, valid);
      else state.delete(key);
    }
    if (!typing) history.pushState(null, "", address());
    apply();
  }

  function reread() {
    // An address without "=" is that of a row: the browser goes there, and the state stays.
    if (location.hash && !location.hash.includes("=")) return;
    state = parsed(location.hash);
    apply();
  }

  // --- Order and filters.
  const axis = () => get("x") || (axes.length ? axes[0].value : "");
  const value = (row, key) => {
    const cell = cells.get(row).get(key);
    return cell && cell.dataset.v !== undefined ? Number(cell.dataset.v) : NaN;
  };
  const name = (row) => row.querySelector(".name").textContent;

  function ordered() {
    const chosen = axes.find((input) => input.value === axis());
    const start = chosen ? chosen.dataset.order.split(" ").map((id) => byId.get(id)) : rows;
    const key = get("sort").replace(/^-/, ""), sign = get("sort").startsWith("-") ? -1 : 1;
    if (!key) return start;
    const place = new Map(start.map((row, index) => [row, index]));
    const of = { front: (row) => place.get(row), recipe: name }[key] || ((row) => value(row, key));
    const known = (row) => !Number.isNaN(of(row)) && (key !== "front" || row.dataset.status === "ok");
    // What is missing comes last both ways; equals keep the board's order.
    return [...start].sort((a, b) => {
      if (!known(a) || !known(b)) return known(b) - known(a) || place.get(a) - place.get(b);
      const one = of(a), other = of(b);
      return one === other ? place.get(a) - place.get(b) : one < other ? -sign : sign;
    });
  }

  function fits(row) {
    const cost = Number(row.getAttribute(`data-x-${axis()}`) ?? NaN);
    const chosen = axes.find((input) => input.value === axis());
    const limit = Number(get("max")), enough = chosen && chosen.hasAttribute("data-high") ? cost >= limit : cost <= limit;
    return decoded(get("q")).toLowerCase().split(/\s+/).every((word) => words.get(row).includes(word))
      && [...facets.keys()].every((key) => !get(key) || list(get(key)).includes(row.dataset[key]))
      && (!get("max") || enough)
      && (!get("min") || value(row, "acc") >= Number(get("min")))
      && (!get("front") || row.dataset.front.split(" ").includes(axis()));
  }

  function apply() {
    const order = ordered(), key = get("sort").replace(/^-/, "") || "front";
    if (order.some((row, index) => table.tBodies[index] !== row)) table.append(...order);
    for (const row of rows) {
      row.hidden = !fits(row);
      marks.get(row.id).forEach((mark) => mark.classList.toggle("gone", row.hidden));
      row.querySelector(".choice input").checked = list(get("sel")).includes(row.dataset.run);
    }
    for (const [name, head] of heads) {
      if (name === key) head.setAttribute("aria-sort", get("sort").startsWith("-") ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    axes.forEach((input) => { input.checked = input.value === axis(); });
    for (const [key, input] of inputs) {
      if (input.type === "checkbox") input.checked = get(key) === "1";
      else if (input !== document.activeElement) input.value = decoded(get(key));
      input.removeAttribute("aria-invalid");
    }
    for (const [key, boxes] of facets) boxes.forEach((box) => { box.checked = list(get(key)).includes(box.value); });
    all(".plot").forEach(oneTabStop);
    report(heads.get(key), rows.filter((row) => !row.hidden).length);
  }

  function report(head, count) {
    const shown = `${count} of ${rows.length} shown`;
    board.querySelector(".shown span").textContent = shown;
    const said = `${shown}, sorted by ${head.dataset.c}, ${head.getAttribute("aria-sort")}`;
    if (heard.textContent !== said) heard.textContent = said;
    const compare = board.querySelector(".compare"), chosen = list(get("sel"));
    compare.hidden = chosen.length < 2;
    compare.textContent = `Compare ${chosen.length} results`;
    compare.href = `${compare.href.split("#")[0]}#sel=${get("sel")}`;
  }

  // --- Plot: arrow keys along the front, and each point with its row.
  const walk = (plot) => all(".points.front a.point:not(.gone), .points.tied a.point:not(.gone)", plot)
    .sort((a, b) => a.parentNode.classList.contains("tied") - b.parentNode.classList.contains("tied"));

  function oneTabStop(plot) {
    const stops = walk(plot);
    const keep = stops.find((point) => point === document.activeElement) || stops[0];
    all("a.point", plot).forEach((point) => point.setAttribute("tabindex", point === keep ? "0" : "-1"));
  }

  board.addEventListener("keydown", (event) => {
    const point = event.target.closest("a.point"), plot = event.target.closest(".plot");
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!point || !step) return;
    event.preventDefault();
    const stops = walk(plot).filter((stop) => stop.parentNode === point.parentNode);
    const next = stops[Math.max(0, Math.min(stops.length - 1, stops.indexOf(point) + step))];
    if (!next) return;
    next.focus();
    oneTabStop(plot);
  });

  function light(event) {
    const id = event.target.closest("a.point")?.dataset.row || event.target.closest("tbody.row")?.id;
    all(".lit").forEach((lit) => lit.classList.remove("lit"));
    if (!id || !["mouseover", "focusin"].includes(event.type)) return;
    [byId.get(id), ...marks.get(id)].forEach((lit) => lit.classList.add("lit"));
  }
  ["mouseover", "mouseout", "focusin", "focusout"].forEach((kind) => board.addEventListener(kind, light));

  board.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]'), row = link && byId.get(link.getAttribute("href").slice(1));
    if (!row) return;
    event.preventDefault(); // the address keeps the state
    if (row.hidden) reset();
    row.scrollIntoView({ block: "center" });
    row.querySelector("summary").focus({ preventScroll: true });
  });

  // --- Controls.
  function reset() {
    change(Object.fromEntries([...CHECKS.keys()].map((key) => [key, ""])));
  }

  for (const [key, head] of heads) {
    const button = document.createElement("button"), first = head.hasAttribute("data-high") ? `-${key}` : key;
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const turn = [first, first === key ? `-${key}` : key, ""];
    button.addEventListener("click", () => {
      if (key === "front") change({ sort: get("sort") ? "" : "-front" });
      else change({ sort: turn[(turn.indexOf(get("sort")) + 1) % 3] });
    });
  }
  let waiting = 0;
  for (const [key, input] of inputs) {
    if (input.type === "checkbox") input.addEventListener("change", () => change({ [key]: input.checked ? "1" : "" }));
    else input.addEventListener("input", () => {
      const typed = key === "q" ? input.value : input.value.trim().replace(",", ".");
      change({ [key]: encodeURIComponent(typed.toWellFormed?.() ?? typed) }, true);
      if (typed.trim() && !get(key)) input.setAttribute("aria-invalid", "true");
      clearTimeout(waiting);
      waiting = setTimeout(() => history.replaceState(null, "", address()), 150);
    });
  }
  for (const [key, boxes] of facets) {
    const chosen = () => joined(boxes.filter((box) => box.checked).map((box) => box.value));
    boxes.forEach((box) => box.addEventListener("change", () => change({ [key]: chosen() })));
  }
  axes.forEach((input) => input.addEventListener("change", () => change({ x: input.value })));
  all(".presets button").forEach((button) => button.addEventListener("click", () => {
    const asked = parsed(button.dataset.state);
    change(Object.fromEntries([...CHECKS.keys()].filter((key) => key !== "sel").map((key) => [key, asked.get(key) || ""])));
  }));
  board.querySelector(".reset").addEventListener("click", reset);
  for (const row of rows) {
    const label = document.createElement("label"), box = document.createElement("input");
    label.className = "choice";
    box.type = "checkbox";
    box.autocomplete = "off"; // or a reload would tick what the address does not say
    box.setAttribute("aria-label", `compare ${name(row)}`);
    label.append(box, " compare");
    row.querySelector(".recipe").append(label);
    box.addEventListener("change", () => {
      const others = list(get("sel")).filter((run) => run !== row.dataset.run);
      change({ sel: joined(box.checked ? [...others.slice(1 - MOST_COMPARED), row.dataset.run] : others) });
    });
  }

  // --- Columns: kept on this machine and not in links.
  const COLUMNS = "paretoboard-columns";
  let columns = {};
  try { columns = JSON.parse(localStorage.getItem(COLUMNS)) || {}; } catch { /* storage may be switched off */ }
  const seen = (key) => (typeof columns[key] === "boolean" ? columns[key] : !heads.get(key).hasAttribute("data-optional"));
  function showColumn(key) {
    [heads.get(key), ...rows.map((row) => cells.get(row).get(key))].forEach((cell) => { if (cell) cell.hidden = !seen(key); });
  }
  for (const [key, head] of [...heads].filter(([key]) => key !== "front" && key !== "recipe")) {
    const label = document.createElement("label"), box = document.createElement("input");
    label.className = "check";
    box.type = "checkbox";
    box.checked = seen(key);
    label.append(box, ` ${head.dataset.c}`);
    board.querySelector(".columns").append(label);
    box.addEventListener("change", () => {
      columns[key] = box.checked;
      try { localStorage.setItem(COLUMNS, JSON.stringify(columns)); } catch { /* the choice then holds for this page */ }
      showColumn(key);
    });
    showColumn(key);
  }

  // --- Downloads of what is seen.
  const visible = () => [...table.tBodies].filter((row) => !row.hidden);
  function shownText(row, key) {
    const cell = cells.get(row).get(key);
    if (!cell) return "";
    if (key === "recipe") return name(row);
    if (key === "front") return (cell.querySelector(`.on-${axis()}`) || cell).textContent.replace(/[●◐○·✗]/g, "").trim();
    return cell.dataset.t || [cell.querySelector(".value")?.textContent, cell.querySelector(".half")?.textContent].filter(Boolean).join("");
  }
  const quoted = (text) => {
    // A cell that begins like a formula would be run by spreadsheets.
    const safe = /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  function csv() {
    const lines = [[]], found = visible();
    for (const row of found) lines.push([]);
    const add = (title, of) => [title, ...found.map(of)].forEach((text, index) => lines[index].push(quoted(text)));
    for (const [key, head] of [...heads].filter(([key]) => seen(key))) {
      const data = (row, part) => cells.get(row).get(key)?.dataset[part] ?? "";
      add(head.dataset.c, (row) => data(row, "t") || data(row, "v") || shownText(row, key));
      if (!found.some((row) => data(row, "low"))) continue;
      ["low", "high"].forEach((end) => add(`${head.dataset.c}, ${end}`, (row) => data(row, end)));
    }
    add("Reason", (row) => row.querySelector(".reason")?.textContent.trim() ?? "");
    return lines.map((line) => line.join(",")).join("\r\n") + "\r\n";
  }
  function markdown() {
    const keys = [...heads.keys()].filter(seen), line = (texts) => `| ${texts.map((text) => text.replace(/[\\|]/g, "\\$&").replace(/\s+/g, " ")).join(" | ")} |`;
    const rule = `|${keys.map((key) => (heads.get(key).classList.contains("num") ? "---:" : "---")).join("|")}|`;
    return [line(keys.map((key) => heads.get(key).dataset.c)), rule, ...visible().map((row) => line(keys.map((key) => shownText(row, key) || "–")))].join("\n") + "\n";
  }
  function drawing() {
    const plot = all(".plot").find((found) => found.getClientRects().length);
    const copy = plot.cloneNode(true), styled = all("*", plot), STYLE = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity", "font", "display"];
    all("*", copy).forEach((element, index) => STYLE.forEach((key) => element.style.setProperty(key, getComputedStyle(styled[index])[key])));
    all("a", copy).forEach((link) => link.removeAttribute("href"));
    const [, , width, height] = plot.getAttribute("viewBox").split(" ");
    Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height }).forEach(([key, text]) => copy.setAttribute(key, text));
    copy.style.background = getComputedStyle(board.querySelector(".figures")).backgroundColor;
    return { text: new XMLSerializer().serializeToString(copy), width: Number(width), height: Number(height) };
  }
  function save(ending, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(content);
    link.download = `${board.id}-seen.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function png() {
    const { text, width, height } = drawing(), picture = new Image(), canvas = document.createElement("canvas");
    picture.addEventListener("load", () => {
      [canvas.width, canvas.height] = [2 * width, 2 * height];
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((content) => save("png", content));
    });
    picture.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  }
  const GIVE = {
    csv: () => save("csv", new Blob(["\ufeff", csv()], { type: "text/csv" })),
    md: () => save("md", new Blob([markdown()], { type: "text/markdown" })),
    svg: () => save("svg", new Blob([drawing().text], { type: "image/svg+xml" })),
    png,
  };
  all(".downloads button").forEach((button) => button.addEventListener("click", () => GIVE[button.dataset.get]()));

  all(".filters, .shown, .downloads li").forEach((part) => { part.hidden = false; });
  table.classList.add("js");
  board.querySelector(".filters").open = !matchMedia("(max-width: 62rem)").matches;
  window.addEventListener("hashchange", reread);
  window.addEventListener("popstate", reread);
  state = location.hash.includes("=") ? parsed(location.hash) : state;
  apply();
})();
