// Online-Rechner, Skripte. Nur ASCII, damit der Zeichensatz keine Rolle spielt.
var preisWecker = null;

function element(id) { return document.getElementById(id); }
function schreiben(id, text) { element(id).innerHTML = ""; element(id).appendChild(document.createTextNode(text)); }

function preisGeaendert() {
  if (preisWecker) window.clearTimeout(preisWecker);
  preisWecker = window.setTimeout(preisAnfordern, 400);
}

function preisAnfordern() {
  var f = document.forms["angebot"], felder = ["geburtsdatum", "hsn", "tsn", "km", "beginn", "sf", "zahlung"], anfrage = "", i;
  for (i = 0; i < felder.length; i++) anfrage += felder[i] + "=" + encodeURIComponent(f.elements[felder[i]].value) + "&";
  for (i = 0; i < f.deckung.length; i++) if (f.deckung[i].checked) anfrage += "deckung=" + f.deckung[i].value + "&";
  var xhr = window.XMLHttpRequest ? new XMLHttpRequest() : new ActiveXObject("Microsoft.XMLHTTP");
  xhr.open("GET", "/kfz/preis?" + anfrage + "zeit=" + new Date().getTime(), true);
  xhr.onreadystatechange = function () { if (xhr.readyState == 4) preisAnzeigen(xhr); };
  xhr.send(null);
}

function preisAnzeigen(xhr) {
  var xml = xhr.status == 200 ? xhr.responseXML : null;
  if (!xml || !xml.documentElement) { schreiben("preis", "Der Preis ist zurzeit nicht verf\u00fcgbar."); return; }
  var jahr = xml.getElementsByTagName("jahr")[0], rate = xml.getElementsByTagName("rate")[0], hinweis = xml.getElementsByTagName("hinweis")[0];
  if (jahr) schreiben("preis", jahr.firstChild.nodeValue + " EUR im Jahr, Rate " + rate.firstChild.nodeValue + " EUR");
  else schreiben("preis", hinweis ? hinweis.firstChild.nodeValue : "-");
}

function tickerStarten() {
  if (!window.EventSource) { schreiben("ticker", "Ihr Browser zeigt keine Meldungen an."); return; }
  new EventSource("/ticker").onmessage = function (ereignis) { schreiben("ticker", ereignis.data); };
}

function kurseStarten() {
  var ws = new WebSocket((location.protocol == "https:" ? "wss://" : "ws://") + location.host + "/ws/kurse");
  ws.onopen = function () { ws.send("Hallo"); };
  ws.onclose = function () { schreiben("status", "Verbindung beendet"); };
  ws.onmessage = function (ereignis) {
    schreiben("status", "verbunden");
    var teile = ereignis.data.split(";"), zeile, i, zelle;
    if (teile.length != 2) return;
    zeile = document.createElement("tr");
    for (i = 0; i < 2; i++) {
      zelle = document.createElement("td");
      zelle.align = i ? "right" : "left";
      zelle.appendChild(document.createTextNode(teile[i]));
      zeile.appendChild(zelle);
    }
    element("kurse").insertBefore(zeile, element("kurse").firstChild);
    if (element("kurse").childNodes.length > 10) element("kurse").removeChild(element("kurse").lastChild);
  };
}
