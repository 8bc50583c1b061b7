;; Imports a store of values that it was not granted.
(import "bulkhead:handler/kv@0.1.0" "delete" (func $delete (param i32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $delete (i32.const 256) (i32.const 4) (i32.const 1024))
    (i32.const 0))
