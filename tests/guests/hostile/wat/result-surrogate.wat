;; Fails with half of a surrogate pair for a reason.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store8 (i32.const 1024) (i32.const 1))
    (i32.store8 (i32.const 1032) (i32.const 1))
    (i32.store (i32.const 1040) (i32.const 2048))
    (i32.store (i32.const 1044) (i32.const 3))
    (i32.store (i32.const 2048) (i32.const 0x0080a0ed))
    (i32.const 1024))
