//! What `SHOW GRANTS` says of the rights of a MySQL user, as far as they decide what is shown to him.
//!
//! In: the lines of the answer. Out: whether all of a database is shown to him, or of a table only a part.
//! It never takes a line that it cannot read for one that gives a right.

/// The rights of a user.
pub(super) struct Grants {
    read: Vec<Grant>,
    /// Whether rights were taken back in part: what is left then is not for here to tell.
    revoked: bool,
    /// Whether a line gives rights on columns of a table that could not be read.
    obscure: bool,
}

/// `GRANT SELECT, TRIGGER ON shop.* TO ..`
struct Grant {
    rights: Vec<String>,
    /// `*` for all; in it, `\_` and `\%` stand for themselves.
    database: String,
    /// `*` for all.
    table: String,
    /// Whether some of the rights are on columns.
    on_columns: bool,
}

impl Grants {
    pub fn of(lines: &[String]) -> Self {
        let (mut read, mut obscure) = (Vec::new(), false);
        for line in lines {
            match Grant::read(line) {
                Some(grant) => read.push(grant),
                None => obscure |= line.contains('('),
            }
        }
        Self { read, revoked: lines.iter().any(|line| line.starts_with("REVOKE")), obscure }
    }

    /// Whether all triggers of a database are shown to him, and then all of its tables and foreign keys are, too.
    pub fn show_all_of(&self, database: &str) -> bool {
        const RIGHTS: [&str; 3] = ["ALL", "ALL PRIVILEGES", "TRIGGER"];
        !self.revoked
            && self.read.iter().any(|grant| {
                let everywhere = grant.database == "*" || unescaped(&grant.database) == database;
                everywhere && grant.table == "*" && grant.rights.iter().any(|right| RIGHTS.contains(&&**right))
            })
    }

    /// Whether all relations of the server are shown to him.
    pub fn show_everything(&self) -> bool {
        const RIGHTS: [&str; 3] = ["ALL", "ALL PRIVILEGES", "TRIGGER"];
        let everywhere = |grant: &&Grant| grant.database == "*" && grant.table == "*";
        !self.revoked
            && self
                .read
                .iter()
                .filter(everywhere)
                .any(|grant| grant.rights.iter().any(|right| RIGHTS.contains(&&**right)))
    }

    /// Whether some of the columns of a table, and so some of its foreign keys, may be hidden from him.
    pub fn show_a_part_of(&self, database: &str, table: &str) -> bool {
        self.obscure
            || self
                .read
                .iter()
                .any(|grant| grant.on_columns && unescaped(&grant.database) == database && grant.table == table)
    }
}

impl Grant {
    fn read(line: &str) -> Option<Self> {
        let (rights, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
        let (database, rest) = name(rest)?;
        let (table, rest) = name(rest.strip_prefix('.')?)?;
        rest.starts_with(" TO ").then(|| Self {
            on_columns: rights.contains('('),
            rights: rights.split(", ").map(|right| right.trim().to_owned()).collect(),
            database,
            table,
        })
    }
}

/// A name in backticks, double quotes or none, and what follows it. None that has such a quote in it.
fn name(text: &str) -> Option<(String, &str)> {
    for quote in ['`', '"'] {
        if let Some(rest) = text.strip_prefix(quote) {
            let (name, rest) = rest.split_once(quote)?;
            return (!rest.starts_with(quote)).then(|| (name.to_owned(), rest));
        }
    }
    let end = text.find(['.', ' '])?;
    Some((text[..end].to_owned(), &text[end..]))
}

fn unescaped(pattern: &str) -> String {
    pattern.replace("\\_", "_").replace("\\%", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(lines: &[&str]) -> Grants {
        Grants::of(&lines.iter().map(|&line| line.into()).collect::<Vec<_>>())
    }

    #[test]
    fn only_a_right_on_all_of_a_database_shows_all_of_it() {
        let shows = |lines: &[&str], database| grants(lines).show_all_of(database);
        assert!(shows(&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], "shop"));
        assert!(shows(&["GRANT USAGE ON *.* TO `a`@`%`", "GRANT SELECT, TRIGGER ON `shop`.* TO `a`@`%`"], "shop"));
        assert!(shows(&["GRANT TRIGGER ON \"my\\_shop\".* TO \"a\"@\"%\""], "my_shop"));
        assert!(shows(&["GRANT TRIGGER ON my_shop.* TO a@%"], "my_shop"));
        assert!(!shows(&["GRANT SELECT ON `shop`.* TO `a`@`%`"], "shop"));
        assert!(!shows(&["GRANT TRIGGER ON `shop`.* TO `a`@`%`"], "other"));
        assert!(!shows(&["GRANT TRIGGER ON `shop`.`users` TO `a`@`%`"], "shop"));
        assert!(!shows(&["GRANT SELECT (`TRIGGER`) ON `shop`.* TO `a`@`%`"], "shop"));
        assert!(!shows(&["GRANT TRIGGER ON *.* TO `a`@`%`", "REVOKE TRIGGER ON `shop`.* FROM `a`@`%`"], "shop"));
        assert!(!shows(&["GRANT TRIGGER ON `shop``.* TO `x`.* TO `a`@`%`"], "shop"));
        assert!(!shows(&["GRANT `TRIGGER` TO `a`@`%`", "GRANT PROXY ON ``@`%` TO `a`@`%`"], "shop"));
        assert!(!shows(&[], "shop"));
    }

    #[test]
    fn rights_on_columns_show_a_part_of_a_table() {
        let lines =
            ["GRANT USAGE ON *.* TO `a`@`%`", "GRANT SELECT (`n`, `m`), INSERT ON `my\\_shop`.`users` TO `a`@`%`"];
        assert!(grants(&lines).show_a_part_of("my_shop", "users"));
        assert!(!grants(&lines).show_a_part_of("my_shop", "orders"));
        assert!(!grants(&["GRANT SELECT ON `shop`.`users` TO `a`@`%`"]).show_a_part_of("shop", "users"));
        assert!(grants(&["GRANT SELECT (`a ON b`) ON `x`.`y` TO `a`@`%`"]).show_a_part_of("shop", "users"));
    }
}
