;; Answers with an output of 32 MiB.
(memory $memory (export "memory") 520)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store (i32.const 1040) (i32.const 0))
    (i32.store (i32.const 1044) (i32.const 33554432))
    (i32.const 1024))
