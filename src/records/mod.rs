//! L1, views of record batches v2 and message sets v0 and v1, validation, conversion, control records, compression.
