"""Links in the forms of other tools: BRAT, BigBio, FHIR, OMOP, data frames, spaCy, UIMA. One module for each."""
