// Hides the variants that are rare, or allowed. Nothing on the page depends on it.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = document.getElementById("theme");
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });

  const share = document.getElementById("share");
  const parted = document.getElementById("parted");
  const variants = [...document.querySelectorAll(".variant")];
  const choose = () => {
    const most = Number(share.value);
    let shown = 0;
    for (const variant of variants) {
      const rare = Number(variant.dataset.before) >= most && most < 100;
      variant.hidden = rare || (parted.checked && variant.classList.contains("good"));
      shown += variant.hidden ? 0 : 1;
    }
    document.getElementById("percent").value = share.value;
    document.getElementById("count").textContent =
      shown === variants.length ? "" : `${shown} of ${variants.length} variants of this page shown`;
  };
  share.addEventListener("input", choose);
  parted.addEventListener("change", choose);

  // A link to a variant shows it, whatever is chosen.
  const follow = () => {
    const target = /^#v\d+$/.test(location.hash) && document.querySelector(location.hash);
    if (!target || !target.hidden) return;
    share.value = 100;
    parted.checked = false;
    choose();
    target.scrollIntoView();
  };
  addEventListener("hashchange", follow);

  addEventListener("keydown", (event) => {
    if (event.key !== "t" || event.ctrlKey || event.metaKey || event.altKey) return;
    theme.click();
    event.preventDefault();
  });
  choose();
})();
