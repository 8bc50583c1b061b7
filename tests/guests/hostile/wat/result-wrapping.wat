;; Says that its output begins before the end of memory and ends far behind it.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store (i32.const 1040) (i32.const 131071))
    (i32.store (i32.const 1044) (i32.const 0x7fffffff))
    (i32.const 1024))
