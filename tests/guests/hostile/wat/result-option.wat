;; Fails with details that are neither there nor absent.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store8 (i32.const 1032) (i32.const 0))
    (i32.store8 (i32.const 1048) (i32.const 9))
    (i32.const 1024))
