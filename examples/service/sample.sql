INSERT INTO categories (name) VALUES ('tea'), ('coffee'), ('pots');
INSERT INTO products (sku, name, category_id, price_cents, stock) VALUES
    ('T-1', 'Darjeeling', 1, 890, 40), ('T-2', 'Sencha', 1, 1150, 25), ('T-3', 'Earl Grey', 1, 690, 60),
    ('C-1', 'Sidamo', 2, 1290, 30), ('C-2', 'Antigua', 2, 1190, 35), ('P-1', 'Iron pot', 3, 4900, 3);
INSERT INTO customers (name, email) VALUES ('Ada', 'ada@example.org'), ('Grace', 'grace@example.org');
INSERT INTO orders (customer_id) VALUES (1), (2);
INSERT INTO order_items (order_id, product_id, quantity, price_cents) VALUES (1, 1, 2, 890), (1, 6, 1, 4900), (2, 4, 1, 1290);
