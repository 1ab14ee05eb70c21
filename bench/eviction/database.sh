#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A database for record.sh: orders of customers, as sqlite3 holds them.
#
#   database.sh make FILE     one of about 190 MiB
#   database.sh use FILE      mixed queries, each time the same ones
#
# Which rows are asked for is skewed: most often some hundred customers, with
# scans of the whole in between.

set -eu
customers=60000 orders=1200000

make_database() {
	sqlite3 "$1" <<-SQL
	PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
	CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, town TEXT,
		note TEXT);
	CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER,
		day INTEGER, price INTEGER, item TEXT);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
		WHERE i < $customers)
	INSERT INTO customer SELECT i, 'name ' || (i * 7919 % $customers),
		'town ' || (i % 311), hex(zeroblob(100 + i % 200)) FROM n;
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
		WHERE i < $orders)
	INSERT INTO purchase SELECT i, 1 + i * 48271 % 2147483647 % $customers,
		i / 500, i * 31 % 9973,
		'item ' || (i * 69621 % 2147483647 % 5003) ||
		' some words about it that take room' FROM n;
	CREATE INDEX by_customer ON purchase (customer);
	CREATE INDEX by_item ON purchase (item);
	SQL
}

# Queries of one round; awk's random numbers are the same each time.
queries() {
	awk -v round="$1" -v customers=$customers -v orders=$orders '
	function skewed(n) { return 1 + int(n * rand() ^ 4) }
	BEGIN {
		srand(round)
		for (i = 0; i < 1500; i++) {
			what = rand()
			c = skewed(customers) * 7919 % customers + 1
			if (what < 0.6)
				printf "SELECT sum(price) FROM purchase WHERE customer = %d;\n", c
			else if (what < 0.8)
				printf "SELECT name, note FROM customer WHERE id = %d;\n", c
			else if (what < 0.9)
				printf "SELECT count(*) FROM purchase WHERE item GLOB \"item %d *\" AND day > 100;\n", skewed(5003)
			else if (what < 0.95)
				printf "INSERT INTO purchase (customer, day, price, item) VALUES (%d, 2500, 5, \"item %d new\");\n", c, skewed(5003)
			else
				printf "UPDATE purchase SET price = price + 1 WHERE id = %d;\n", orders - skewed(orders) + 1
		}
		if (round % 4 == 1)
			print "SELECT day / 30, sum(price) FROM purchase GROUP BY 1;"
		if (round % 4 == 3)
			print "SELECT town, count(*) FROM customer GROUP BY 1;"
	}'
}

use_database() {
	local round
	for round in {1..24}; do
		queries "$round" |
			sqlite3 -cmd 'PRAGMA synchronous = OFF' \
				-cmd 'PRAGMA cache_size = 50' "$1" >/dev/null
	done
}

"$1_database" "$2"
