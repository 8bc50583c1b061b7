;; Names its output's type in bytes that are no UTF-8.
(func (export "bulkhead:handler/handler@0.1.0#handle") (param i32) (result i32)
    (i32.store (i32.const 1032) (i32.const 2048))
    (i32.store (i32.const 1036) (i32.const 4))
    (i32.store (i32.const 2048) (i32.const 0xfffefdfc))
    (i32.const 1024))
