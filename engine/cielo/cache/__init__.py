"""The result cache: links that were found before, in memory or in an SQLite file, looked up by a keyed digest.

What a link depends on (bundle, decoding, compute type, device, options, kind, prompt; the versions of the libraries,
the processor) goes into the digest, so a hit is what a run gave: the same to the last bit, `timings` and
`id` apart, which belong to a call and are not kept. An editable checkout keeps its version while its code changes:
whoever changes how links are found deletes the file. Another GPU in the same machine is not noticed.

Privacy. No prompt is kept anywhere, in the clear or otherwise than as a digest under a secret (see `load_secret`).
The file holds digests, row numbers of the knowledge base, numbers, and the day of the last use. A link whose
generated text is not letter for letter a description of the knowledge base may hold a patient's words: it is kept in
memory alone, and found again by the next process. Whoever has both the file and the secret can test guesses at prompts.

The file is a convenience and never a reason to fail: where it is damaged, locked, read-only, or the disk is full,
one warning says so and links are found without it. Each entry carries a tag under the secret, so that a flipped bit
or an entry written by others is a miss and never a wrong code. Keep the file on a local disk (SQLite's write-ahead
log does not work over a network), and open it after a fork, not before.
"""
