;; Asks for 4 GiB at once and writes where they would end.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (drop (memory.grow (i32.const 65534)))
    (i32.store (i32.const 0xfffffff0) (i32.const 1))
    (i32.const 0))
