// The theme, on every page. Runs before the body is drawn, so that no page flashes in the other theme.
(function () {
  "use strict";
  const KEY = "paretoboard-theme";
  const NAMES = { system: "as the system", light: "light", dark: "dark" };
  const ORDER = ["system", "light", "dark"];

  function stored() {
    try {
      const found = localStorage.getItem(KEY);
      return ORDER.includes(found) ? found : "system";
    } catch {
      return "system"; // storage may be switched off
    }
  }

  function apply(theme) {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  let theme = stored();
  apply(theme);
  document.addEventListener("DOMContentLoaded", function () {
    const button = document.getElementById("theme");
    const words = button.querySelector("span");
    words.textContent = NAMES[theme];
    button.hidden = false;
    button.addEventListener("click", function () {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      apply(theme);
      words.textContent = NAMES[theme];
      try {
        localStorage.setItem(KEY, theme);
      } catch {
        // The choice then holds for this page.
      }
    });
  });
})();
