"""Small corpora with invented text, in the formats of the real ones."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

ARTICLE = 'Mujer con fractura abierta de tibia. Se hace TAC y Rx de rodilla izquierda.\n\nAlta con dolor "leve".\n'


def offsets(text: str, *parts: str) -> str:
    return ";".join(f"{text.index(part)} {text.index(part) + len(part)}" for part in parts)


CODIESP = "\n".join(
    "\t".join(cells)
    for cells in [
        ["a1", "DIAGNOSTICO", "s82.209b", "fractura de tibia", offsets(ARTICLE, "fractura", "de tibia")],
        ["a1", "PROCEDIMIENTO", "bq0", "Rx izquierda", offsets(ARTICLE, "Rx", "izquierda")],
        ["a1", "PROCEDIMIENTO", "0210", "TAC", "0 0;" + offsets(ARTICLE, "TAC")],
        ["a1", "DIAGNOSTICO", "NA", 'dolor "leve"', offsets(ARTICLE, 'dolor "leve"')],
        ["a1", "DIAGNOSTICO", "r52", "leve dolor", offsets(ARTICLE, "leve", "dolor")],
    ]
)
CODIESP_LINES = CODIESP.count("\n") + 1

SENTENCES = (
    "file_id\tsentence\twords\tlabel\tlabel_type\tid\tcodigo\tdescripcion\tblock_label\n"
    "a1\tRefiere tos seca, fiebre y mal estado.\ttos seca\tR05\tDIAGNOSTICO\t7\tR05\tTos\tR05\n"
    'a1\t"Con aspecto de ""moneda"" en la placa."\tmoneda\t0016\tPROCEDIMIENTO\t8\t\t\t001\n'
    'a2\tSonda de 8" y "tubo" de goma.\tsonda\tT68.XXX\tDIAGNOSTICO\t9\tT68\tHipotermia\tT68\n'
)
PREDICTIONS = (
    "pred,words,sentence,label,prompt,label_type,descripcion\n"
    'tos,tos seca,"Refiere tos seca, fiebre.",R05,Genera: tos,DIAGNOSTICO,Tos\n'
    ',placa,"Se hace\nplaca ""de pie"".",BQ0,Genera: placa,PROCEDIMIENTO,radiografía simple\n'
)

MANTRA_TEXT = "Otitis media aguda y externa."
MANTRA = (
    "T1\tC0000001 0 12\tOtitis media\n"
    '#1\tAnnotatorNotes T1\t"C0000001", "Otitis media", "Disease or Syndrome" ,"DISO"\n'
    "T2\tC0000002 0 6;21 28\tOtitis externa\n"
    '#2\tAnnotatorNotes T2\t"C0000002", "Otitis, external | other", "Disease" ,"DISO"\n'
)
NOTES_TEXT = "No tiene fiebre ni cefalea.\nSe hace biopsia de piel.\n"
NOTES = (
    "T1\tNeg_cue 0 2\tNo\n"
    "T2\tDISO 9 15\tfiebre\n"
    "#1\tAnnotatorNotes T2\tC0000001; Fever; Sign or Symptom | C0000003; Heat; Finding\n"
    "T3\tDISO 19 26\tcefalea\n"
    "#2\tAnnotatorNotes T3\tC0000002; Headache; Sign or\n"
    "Symptom | C0000003; Pain; Finding\n"
    "T4\tPROC 36 43;44 51\tbiopsia de piel\n"
    "#3\tAnnotatorNotes T4\tC0000004; Biopsy; Procedure\n"
    "A1\tNegated T2\n"
    "R1\tHas Arg1:T4 Arg2:T2\n"
    "T5\tPROC 28 35\tSe hace\n"
    "#4\tAnnotatorNotes T5\tC0000009; Unmapped; Procedure\n"
)
CODE_MAP = "cui,code,kind\nC0000001,R50,diagnosis\nC0000001,R50.9,diagnosis\nC0000002,G44,diagnosis\n" + (
    "C0000003,R52,diagnosis\nC0000004,0HB,procedure\n"
)

XMI_TEXT = "Varón 🫀 con soplo.\r\nSe queja de tos; niega fiebre.\r\nAlta."


def utf16(text: str, part: str) -> tuple[int, int]:
    """Return the offsets of `part` as Java counts them."""
    start = len(text[: text.index(part)].encode("utf-16-le")) // 2
    return start, start + len(part.encode("utf-16-le")) // 2


def xmi(text: str, entities: list[tuple[int, int, str]], borders: list[tuple[int, int]]) -> str:
    attribute = quoteattr(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})
    return "\n".join(
        [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<xmi:XMI xmlns:xmi="http://www.omg.org/XMI" xmlns:cas="http:///uima/cas.ecore" xmlns:type4="http:///s.ecore"'
            ' xmlns:custom="http:///webanno/custom.ecore" xmi:version="2.0">',
            *(f'<type4:Sentence xmi:id="5" sofa="1" begin="{start}" end="{end}"/>' for start, end in borders),
            *(
                f'<custom:CLINENTITY xmi:id="{number}" sofa="1" begin="{start}" end="{end}" entityID="{cui}"/>'
                for number, (start, end, cui) in enumerate(entities, start=20)
            ),
            f'<cas:Sofa xmi:id="1" sofaNum="1" sofaID="_InitialView" mimeType="text" sofaString={attribute}/>',
            "</xmi:XMI>",
        ]
    )


XMI = xmi(
    XMI_TEXT,
    [
        (*utf16(XMI_TEXT, "soplo"), "C0000001"),
        (*utf16(XMI_TEXT, "tos"), "C0000002"),
        (*utf16(XMI_TEXT, "Alta"), "C0000003"),
        (*utf16(XMI_TEXT, "fiebre"), "CUILESS"),
        (*utf16(XMI_TEXT, "queja"), "C0000009"),
    ],
    [utf16(XMI_TEXT, "Varón 🫀 con soplo."), utf16(XMI_TEXT, "Se queja de tos; niega")],
)


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def codiesp(folder: Path, lines: str | bytes = CODIESP) -> Path:
    return write(
        folder,
        {
            "trainX.tsv": lines,
            "trainD.tsv": "a1\ts82.209b\na1\tr52\na1\tr52\n",
            "trainP.tsv": "a1\t0210\n",
            "text_files/a1.txt": ARTICLE,
        },
    )
