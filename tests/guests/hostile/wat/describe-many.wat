;; Describes 100,000 task types.
(memory $memory (export "memory") 300)
(func (export "bulkhead:handler/handler@0.1.0#describe") (result i32)
    (i32.store (i32.const 272) (i32.const 65536))
    (i32.store (i32.const 276) (i32.const 100000))
    (i32.const 256))
