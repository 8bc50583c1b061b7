;; Has a memory of 64-bit addresses.
(memory $wide i64 1)
