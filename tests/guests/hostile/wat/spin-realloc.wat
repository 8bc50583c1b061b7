;; Never gives the host the memory that it asks for.
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (loop $again (br $again)) (i32.const 0))
