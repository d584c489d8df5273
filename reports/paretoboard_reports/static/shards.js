// Single runs from their files of data: a file is loaded once, when a run of it is first asked for.
(function () {
  "use strict";
  const KEY = /^r([0-9a-f]{2})[0-9a-f]{14}(-[0-9a-f]{8})?$/;
  const loaded = new Map();

  function script(prefix) {
    return new Promise(function (resolve, reject) {
      const node = document.createElement("script");
      node.src = `data/runs/${prefix}.js`;
      node.onload = resolve;
      node.onerror = () => reject(new Error(`${node.getAttribute("src")} is missing`));
      document.head.append(node);
    });
  }

  async function shard(prefix) {
    await script(prefix);
    return window.paretoboard.values("runs-" + prefix);
  }

  // {key, row: {column: value}, environment, full, others}; null where no such run is stored.
  // "r<run>" alone means its newest measurement; `others` are the older ones, elsewhere ones too.
  async function run(name, known) {
    const found = KEY.exec(name);
    if (!found || !known.includes(found[1])) return null;
    if (!loaded.has(found[1])) loaded.set(found[1], shard(found[1]));
    const data = await loaded.get(found[1]);
    const at = data.columns.indexOf("key");
    const same = data.rows.filter((row) => row[at].startsWith(name.slice(0, 17)));
    // Rows come oldest first.
    const row = found[2] ? same.find((each) => each[at] === name) : same[same.length - 1];
    if (!row) return null;
    const named = Object.fromEntries(data.columns.map((column, place) => [column, row[place]]));
    return {
      key: row[at],
      row: named,
      environment: data.environments[named.environment_id],
      full: Object.hasOwn(data.full, row[at]) ? data.full[row[at]] : null,
      others: same.map((each) => each[at]).filter((key) => key !== row[at]),
    };
  }

  // An element with attributes and children; text stays text.
  function make(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, found] of Object.entries(attributes)) node.setAttribute(key, found);
    node.append(...children);
    return node;
  }

  Object.assign(window.paretoboard, { run: run, make: make, isKey: (text) => KEY.test(text) });
})();
