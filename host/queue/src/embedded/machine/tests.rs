//! The machine against itself: its rows, its journal and its indexes.
