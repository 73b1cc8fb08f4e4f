// Every word on the page, in Spanish and English.

const es = {
  skip: "Ir a la lista de trabajo", language: "Idioma", inputTitle: "Qué codificar",
  tabMention: "Una mención", tabNote: "Una nota", tabTable: "Una tabla",
  mention: "Mención", sentence: "Frase en la que aparece", kind: "Tipo", kindAny: "Cualquiera",
  diagnosis: "Diagnóstico", procedure: "Procedimiento", code: "Codificar",
  note: "Texto de la nota",
  noteHelp: "Seleccione una mención con el ratón, o con Mayús y las flechas, y márquela. Si cambia el texto se borran las marcas.",
  mark: "Marcar la selección", codeMarked: "Codificar lo marcado", unmark: "Quitar la marca: {text}",
  marked: "Marcada: {text}", markEmpty: "Seleccione primero una mención en la nota.", marksGone: "El texto ha cambiado: se han borrado las marcas.",
  tableHelp: "Arrastre aquí un archivo CSV, TSV, XLSX o JSON con una columna «texto».", tableChoose: "Elegir un archivo",
  tablePaste: "O pegue celdas de una hoja de cálculo, con su cabecera", tableRead: "Leer lo pegado y codificar",
  progress: "Progreso", progressText: "{done} de {all}", cancel: "Cancelar", cancelled: "Cancelado. Codificadas: {done} de {all}.",
  done: "Listo. Codificadas: {done}.", doneErrors: "Listo. Codificadas: {done}; con error: {errors}.", waiting: "El servidor está ocupado; se vuelve a intentar en {seconds} s.",
  resume: "Continuar ({left} sin codificar)", leave: "Quitar lo no codificado", noRows: "la tabla no tiene filas.",
  listTitle: "Lista de trabajo", listEmpty: "Todavía no hay nada.", counts: "{open} por revisar, {reviewed} revisadas",
  keysHelp: "Teclas en la lista: ↑ ↓ mover · A aceptar · R rechazar · C cambiar · U deshacer",
  codeColumn: "Código y descripción", confidence: "Confianza", decision: "Decisión",
  high: "alta", middle: "media, revise", low: "baja, revise", unknown: "sin calcular",
  accepted: "aceptado", changed: "cambiado", rejected: "rechazado", open: "por revisar", noCode: "sin código", notYet: "sin codificar", failed: "no se pudo",
  decided: "{text}: {decision} {code}", proposed: "Propuesta del modelo", confidenceProposed: "Confianza en la propuesta",
  nothingToAccept: "No hay código que aceptar: busque uno o rechace.",
  accept: "Aceptar", reject: "Rechazar", change: "Cambiar", undo: "Deshacer", clear: "Vaciar la lista", clearAsk: "¿Vaciar la lista? Lo no exportado se pierde.",
  how: "Cómo se encontró", generated: "Texto generado", probability: "probabilidad {value}",
  exactLiteral: "la descripción del modelo está en el catálogo, letra por letra",
  exactNormal: "la descripción del modelo está en el catálogo, salvo mayúsculas, acentos o signos",
  semantic: "la descripción del modelo no está en el catálogo: esta es la más parecida",
  lexicon: "la mención está en su propio léxico; no se usó el modelo", none: "nada del catálogo se parece lo bastante a la descripción del modelo",
  noneSure: "la confianza es demasiado baja para dar un código",
  proof: "Búsqueda", proven: "demostrado: ninguna descripción es más probable", unproven: "sin demostrar: otra podría ser más probable",
  title: "Título del código", also: "También", place: "Lugar en el catálogo", chapter: "Capítulo {value}", below: "Más específicos", notLeaf: "Hay códigos más específicos",
  others: "Otras posibilidades", use: "Usar este", logProb: "log-prob. {value}", distance: "distancia {value}",
  search: "Buscar por palabras o código", searchGo: "Buscar", nothing: "Nada encontrado.", maybe: "¿Quiso decir {text}?", total: "{shown} de {all}",
  near: "Parecido", timings: "Tiempo", alone: "{value} ms", seconds: "{value} ms para {mentions} menciones", origin: "Procedencia", truncated: "La frase era más larga de lo que el modelo lee, y se cortó.",
  // The server's own sentences are English: in Spanish each kind of its errors has one here.
  problem_bad_request: "la petición no se entiende", problem_unauthorized: "hace falta una clave válida", problem_not_found: "no existe en este servidor",
  problem_method_not_allowed: "esta dirección no admite esa petición", problem_timeout: "los datos tardaron demasiado en llegar; inténtelo de nuevo",
  problem_too_large: "es más largo de lo que admite el servidor; envíe menos de una vez", problem_unsupported_media_type: "el servidor no lee este tipo de archivo",
  problem_invalid: "el servidor no puede leerlo", problem_overloaded: "el servidor está ocupado; inténtelo dentro de un momento", problem_failed: "el servidor falló; su registro dice dónde",
  problem_not_ready: "el modelo se está cargando; inténtelo dentro de un momento", problem_draining: "el servidor se está deteniendo", problem_deadline: "no dio tiempo a codificarlo; inténtelo de nuevo",
  reason: "{what} (el servidor dice: {message})",
  your: "Su decisión", exportTitle: "Exportar:", reviewedOnly: "solo lo revisado", csvExcel: "CSV para Excel",
  kept: "Todo queda en esta página: el servidor no guarda nada, y al cerrarla se pierde. Exporte antes.",
  keyAsked: "Este servidor pide una clave", keyUse: "Usar", keyKept: "Se guarda hasta cerrar esta pestaña.",
  demo: "Este servidor usa el modelo de demostración: no codifique pacientes con él.", failure: "No se pudo: {message}", offline: "El servidor no responde.", back: "Volver a la lista",
};

const en = {
  skip: "Go to the worklist", language: "Language", inputTitle: "What to code",
  tabMention: "One mention", tabNote: "A note", tabTable: "A table",
  mention: "Mention", sentence: "Sentence that it stands in", kind: "Kind", kindAny: "Any",
  diagnosis: "Diagnosis", procedure: "Procedure", code: "Code it",
  note: "Text of the note",
  noteHelp: "Select a mention with the mouse, or with Shift and the arrows, and mark it. Changing the text removes the marks.",
  mark: "Mark the selection", codeMarked: "Code what is marked", unmark: "Remove the mark: {text}",
  marked: "Marked: {text}", markEmpty: "Select a mention in the note first.", marksGone: "The text has changed: the marks were removed.",
  tableHelp: "Drop a CSV, TSV, XLSX or JSON file with a column “text” here.", tableChoose: "Choose a file",
  tablePaste: "Or paste cells of a spreadsheet, with their header", tableRead: "Read what was pasted, and code it",
  progress: "Progress", progressText: "{done} of {all}", cancel: "Cancel", cancelled: "Cancelled. Coded: {done} of {all}.",
  done: "Done. Coded: {done}.", doneErrors: "Done. Coded: {done}; with an error: {errors}.", waiting: "The server is busy; trying again in {seconds} s.",
  resume: "Go on ({left} not coded)", leave: "Remove what is not coded", noRows: "the table has no rows.",
  listTitle: "Worklist", listEmpty: "Nothing here yet.", counts: "{open} to review, {reviewed} reviewed",
  keysHelp: "Keys in the list: ↑ ↓ move · A accept · R reject · C change · U undo",
  codeColumn: "Code and description", confidence: "Confidence", decision: "Decision",
  high: "high", middle: "medium, review", low: "low, review", unknown: "not known",
  accepted: "accepted", changed: "changed", rejected: "rejected", open: "to review", noCode: "no code", notYet: "not coded yet", failed: "failed",
  decided: "{text}: {decision} {code}", proposed: "Proposal of the model", confidenceProposed: "Confidence in the proposal",
  nothingToAccept: "There is no code to accept: search for one, or reject.",
  accept: "Accept", reject: "Reject", change: "Change", undo: "Undo", clear: "Empty the list", clearAsk: "Empty the list? What was not exported is lost.",
  how: "How it was found", generated: "Generated text", probability: "probability {value}",
  exactLiteral: "the model's description is in the catalogue, letter by letter",
  exactNormal: "the model's description is in the catalogue, but for case, accents or signs",
  semantic: "the model's description is not in the catalogue: this is the nearest one that is",
  lexicon: "the mention is in your own lexicon; the model was not asked", none: "nothing in the catalogue is near enough to the model's description",
  noneSure: "the confidence is too low to give a code",
  proof: "Search", proven: "proven: no description is more probable", unproven: "not proven: another one could be more probable",
  title: "Title of the code", also: "Also", place: "Place in the catalogue", chapter: "Chapter {value}", below: "More specific", notLeaf: "There are more specific codes",
  others: "Other possibilities", use: "Use this one", logProb: "log-prob. {value}", distance: "distance {value}",
  search: "Search by words or code", searchGo: "Search", nothing: "Nothing found.", maybe: "Did you mean {text}?", total: "{shown} of {all}",
  near: "Nearness", timings: "Time", alone: "{value} ms", seconds: "{value} ms for {mentions} mentions", origin: "Origin", truncated: "The sentence was longer than the model reads, and was cut.",
  your: "Your decision", exportTitle: "Export:", reviewedOnly: "reviewed rows only", csvExcel: "CSV for Spanish Excel",
  kept: "All of it stays on this page: the server keeps nothing, and closing the page loses it. Export first.",
  keyAsked: "This server asks for a key", keyUse: "Use it", keyKept: "It is kept until this tab is closed.",
  demo: "This server uses the demonstration model: do not code patients with it.", failure: "It failed: {message}", offline: "The server does not answer.", back: "Back to the list",
};

export const languages = { es, en };
let chosen = sessionStorage.getItem("language") || ((navigator.language || "es").startsWith("en") ? "en" : "es");

export function language() {
  return chosen;
}

export function t(name, values = {}) {
  const text = languages[chosen][name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

// What the server says went wrong, in the page's language.
export function reason({ code, message }) {
  if (!message) return t("offline");
  const what = languages[chosen][`problem_${code}`];
  return what ? t("reason", { what, message }) : message;
}

export function number(value, digits) {
  return value.toLocaleString(chosen, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function setLanguage(name) {
  chosen = name;
  sessionStorage.setItem("language", name);
  apply();
}

export function apply(root = document) {
  document.documentElement.lang = chosen;
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.dataset.tLabel));
  for (const node of root.querySelectorAll("[data-language]")) node.setAttribute("aria-pressed", String(node.dataset.language === chosen));
}
