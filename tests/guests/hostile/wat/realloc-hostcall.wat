;; Calls the host while the host asks it for memory.
(import "bulkhead:handler/context@0.1.0" "cancelled" (func $cancelled (result i32)))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (drop (call $cancelled)) (i32.const 4096))
