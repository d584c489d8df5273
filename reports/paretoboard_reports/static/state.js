// What a page shows, as it stands behind the "#" of its address. Keys that a page does not know are kept, values that
// mean nothing are passed over, and what is as by default is not written.
(function () {
  "use strict";
  const LONGEST = 4000; // of an address that somebody made: beyond it nothing is looked at

  function plain(text) {
    try {
      return decodeURIComponent(text.replace(/\+/g, " "));
    } catch {
      return null;
    }
  }

  // Map of key -> text as it stands there; of a key that is given twice the first counts.
  function read(hash) {
    const found = new Map();
    for (const piece of hash.replace(/^#/, "").slice(0, LONGEST).split("&")) {
      const place = piece.indexOf("=");
      if (place < 1) continue;
      const key = piece.slice(0, place);
      if (!found.has(key)) found.set(key, piece.slice(place + 1));
    }
    return found;
  }

  function write(found) {
    const pieces = [];
    for (const [key, text] of found) if (text !== "") pieces.push(key + "=" + text);
    return pieces.length ? "#" + pieces.join("&") : "";
  }

  const text = {
    read: (raw) => (plain(raw) || "").slice(0, 200),
    write: (value) => encodeURIComponent(value),
    initial: () => "",
  };
  const list = {
    read: (raw) => [...new Set(raw.split(",").map(plain).filter((each) => each))],
    write: (value) => value.map(encodeURIComponent).join(","),
    initial: () => [],
  };
  const limit = {
    read: (raw) => (raw !== "" && Number.isFinite(Number(plain(raw) ?? "x")) ? Number(plain(raw)) : null),
    write: (value) => (value === null ? "" : String(value)),
    initial: () => null,
  };
  function choice(values, first) {
    return {
      read: (raw) => (values.includes(plain(raw)) ? plain(raw) : first),
      write: (value) => (value === first ? "" : encodeURIComponent(value)),
      initial: () => first,
    };
  }
  function count(first, most) {
    return {
      read: (raw) => (/^[1-9][0-9]{0,6}$/.test(raw) && Number(raw) <= most ? Number(raw) : first),
      write: (value) => (value === first ? "" : String(value)),
      initial: () => first,
    };
  }

  // kinds: {key: one of the above}. `changed` is called with the state whenever the address was changed by others.
  function state(kinds, changed) {
    const known = new Map(Object.entries(kinds));
    let others = new Map();
    let timer = 0;

    function fromAddress() {
      const found = read(location.hash);
      const value = {};
      for (const [key, kind] of known) value[key] = found.has(key) ? kind.read(found.get(key)) : kind.initial();
      others = new Map([...found].filter(([key]) => !known.has(key)));
      return value;
    }

    function address(value) {
      const found = new Map();
      for (const [key, kind] of known) found.set(key, kind.write(value[key]));
      return write(new Map([...found, ...others]));
    }

    // typing: the entry of the history is replaced, a moment later; else a new one is made, which Back undoes.
    function save(value, typing) {
      const target = address(value);
      clearTimeout(timer);
      const apply = function (how) {
        if (target !== location.hash) history[how](null, "", target || location.pathname + location.search);
      };
      if (typing) timer = setTimeout(() => apply("replaceState"), 150);
      else apply("pushState");
    }

    const reread = () => changed(fromAddress());
    addEventListener("hashchange", reread);
    addEventListener("popstate", reread);
    return { now: fromAddress, save: save };
  }

  Object.assign(window.paretoboard, { state: state, kinds: { text, list, limit, choice, count } });
})();
