// Shows which share of each tier is admitted at a resistance that the reader chooses, on pages with <div id="bands">.
(() => {
  const tiers = [["critical", 92], ["high", 56], ["normal", 44], ["low", 32], ["bulk", 20]];
  const width = 10; // volts of a band
  const root = document.getElementById("bands");
  if (!root) return;
  root.innerHTML =
    '<label>Resistance of the route: <output></output><input type="range" min="10" max="110" step="0.5" value="48"></label>' +
    tiers.map(([name]) => `<div class="band"><span>${name}</span><meter min="0" max="1"></meter><span></span></div>`).join("");
  const slider = root.querySelector("input");
  const show = () => {
    const ohms = Number(slider.value);
    root.querySelector("output").textContent = `${ohms.toFixed(1)} Ω`;
    root.querySelectorAll(".band").forEach((row, index) => {
      const share = Math.min(1, Math.max(0, (tiers[index][1] + width - ohms) / width));
      row.children[1].value = share;
      row.children[2].textContent = `${Math.round(share * 100)}% admitted`;
    });
  };
  slider.addEventListener("input", show);
  show();
})();
