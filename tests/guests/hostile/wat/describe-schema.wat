;; Gives a schema of 60,000 open brackets.
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    (memory.fill (i32.const 65536) (i32.const 91) (i32.const 60000))
    (i32.store8 (i32.const 304) (i32.const 1))
    (i32.store (i32.const 308) (i32.const 65536))
    (i32.store (i32.const 312) (i32.const 60000))
    (i32.const 256))
