;; Imports secrets that it was not granted.
(import "bulkhead:handler/secrets@0.1.0" "get" (func $secret (param i32 i32 i32)))
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (call $secret (i32.const 256) (i32.const 4) (i32.const 1024))
    (i32.const 0))
