//! CSV to statistics of its columns.
