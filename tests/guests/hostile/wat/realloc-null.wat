;; Answers every request for memory with address 0.
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (i32.const 0))
