;; Answers every request for memory with the same address, so that the parts of its
;; task lie over each other.
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (i32.const 4096))
