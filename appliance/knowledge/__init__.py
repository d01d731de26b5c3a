"""Knowledge: the FAQ, from the file it came in to the matches an answer is made from.

    file ──exchange──▶ rows ──imports──▶ entries (truth, Valkey) ──index──▶ rows (Milvus)
                                            ▲                                │ nominates
                                            └────── decides ── retrieval ◀───┘

* `text` says how FAQ text is written down and when two texts are the same question.
* `entries` owns the truth. Each write marks its entry as not indexed, in the same script.
* `rows` says which rows an entry should have; a row's key holds the digest of what it says.
* `index` owns the vectors, which are derived: one task follows the marks, and at each start
  compares every row with the truth. A lost index is rebuilt, and so is one of another model.
* `lexical_index` keeps the `words` of all rows in a `lexicon`, in memory, beside the vectors;
  `fusion` says which entries the rows near a question speak for.
* `retrieval` asks the index for candidates and believes only the records: nothing deleted, drafted,
  expired or reworded since is returned, whatever the index says. Records are `remembered` for as
  long as nothing has been written.
* `decision` says what to do with what was found, by the bars that `calibration` learns from the FAQ
  itself and `calibrator` keeps current; `opposites` guards it.
* `centring` makes cosines comparable, so that one floor tells questions about the FAQ from others.
* `exchange` and `imports` take whole files in and out, without loss, all or nothing.
* `demo` holds the FAQ of an invented company, to try the product with.
* `neighbours` is what all this asks of the embedding model and of the vector index.

The index may be away, and so may the embedding model: entries can still be edited (they are indexed
later) and questions still be answered (from words alone, and the answer says so).
"""
