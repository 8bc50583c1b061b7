;; Fills 32 MiB again and again, each time by one instruction.
(memory $memory (export "memory") 513)
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (loop $again
            (memory.fill (i32.const 65536) (i32.const 1) (i32.const 33554432))
            (br $again))
    (i32.const 0))
