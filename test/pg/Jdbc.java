// Jdbc.java - what a program on the Java side does with a database, done with PostgreSQL's JDBC driver against Millrace;
// prints one line a claim. Compiled and run by test_pg_clients.py.
import java.sql.*;
import java.util.*;

public class Jdbc {
    static void say(String name, Object value) { System.out.println(name + ": " + value); }

    static String rows(ResultSet r) throws SQLException {
        StringBuilder out = new StringBuilder();
        int columns = r.getMetaData().getColumnCount();
        while (r.next()) {
            for (int i = 1; i <= columns; i++) out.append(i > 1 ? "|" : "").append(r.getString(i));
            out.append(";");
        }
        return out.toString();
    }

    static void types(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("CREATE TABLE j (b bool, i bigint, u ubigint, d double, t text, y bytes, w timestamp)");
        }
        // The driver asks the server to prepare what is run five times, and reads binary from then on.
        try (PreparedStatement p = c.prepareStatement("INSERT INTO j (time, device, b, i, u, d, t, y, w) VALUES (?,?,?,?,?,?,?,?,?)")) {
            for (int n = 0; n < 12; n++) {
                p.setTimestamp(1, Timestamp.from(java.time.Instant.ofEpochMilli(1_700_000_000_000L + n * 1000)));
                p.setString(2, "d" + n);
                if (n == 3) for (int i = 3; i <= 9; i++) p.setNull(i, Types.NULL);
                else {
                    p.setBoolean(3, n % 2 == 0);
                    p.setLong(4, -n);
                    p.setBigDecimal(5, new java.math.BigDecimal("18446744073709551615"));
                    p.setDouble(6, n + 0.5);
                    p.setString(7, "t'" + n + "ü");
                    p.setBytes(8, new byte[] {0, (byte) n, (byte) 255});
                    p.setTimestamp(9, Timestamp.from(java.time.Instant.ofEpochMilli(n)));
                }
                p.addBatch();
            }
            say("inserted", Arrays.stream(p.executeBatch()).sum());
        }
        String last = "";
        boolean same = true;
        try (PreparedStatement p = c.prepareStatement("SELECT b, i, u, d, t, y, w, time FROM j WHERE i <= ? AND t LIKE ? AND time > ? ORDER BY i")) {
            for (int n = 0; n < 10; n++) {
                p.setInt(1, -10);
                p.setString(2, "t%");
                p.setTimestamp(3, new Timestamp(0));
                try (ResultSet r = p.executeQuery()) {
                    r.next();
                    String now = r.getBoolean(1) + " " + r.getLong(2) + " " + r.getBigDecimal(3) + " " + r.getDouble(4) + " "
                        + r.getString(5) + " " + Arrays.toString(r.getBytes(6)) + " " + r.getTimestamp(7).toInstant() + " "
                        + r.getTimestamp(8).toInstant();
                    same &= n == 0 || now.equals(last);
                    last = now;
                }
            }
        }
        say("read", last);
        say("text and binary agree", same);
        try (PreparedStatement p = c.prepareStatement("SELECT count(*) FROM j WHERE d > ? AND d < ? + 100")) {
            p.setDouble(1, 5);
            p.setInt(2, 1);
            try (ResultSet r = p.executeQuery()) { say("counted", rows(r)); }
            say("parameters", p.getParameterMetaData().getParameterTypeName(1) + " " + p.getParameterMetaData().getParameterTypeName(2));
        }
    }

    static void fetch(Connection c) throws SQLException {
        c.setAutoCommit(false);
        long sum = 0, count = 0;
        try (Statement s = c.createStatement()) {
            s.setFetchSize(333); // a portal with a row limit
            try (ResultSet r = s.executeQuery("SELECT v FROM m")) {
                while (r.next()) { sum += r.getLong(1); count++; }
            }
        }
        c.commit();
        say("fetched", count + " " + sum);
        try (Statement s = c.createStatement()) {
            s.executeQuery("SELECT nonsense FROM m");
        } catch (SQLException e) { say("refused", e.getSQLState()); }
        try (Statement s = c.createStatement()) {
            s.executeQuery("SELECT 1");
        } catch (SQLException e) { say("aborted", e.getSQLState()); }
        c.rollback();
        c.setAutoCommit(true);
        try (Statement s = c.createStatement()) {
            say("several", s.execute("SELECT 1; SELECT 2") && s.getMoreResults());
        }
    }

    static void copy(Connection c) throws Exception {
        org.postgresql.copy.CopyManager m = c.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
        String text = "2026-11-21T00:00:00Z,c1,1\n2026-11-21T00:00:01Z,c1,2\n";
        say("copied in", m.copyIn("COPY j (time, device, i) FROM STDIN WITH (FORMAT csv)", new java.io.StringReader(text)));
        java.io.StringWriter out = new java.io.StringWriter();
        say("copied out", m.copyOut("COPY (SELECT i FROM j WHERE device = 'c1') TO STDOUT WITH CSV", out) + " " + out.toString().replace("\n", ";"));
    }

    static void catalogue(Connection c) throws SQLException {
        DatabaseMetaData m = c.getMetaData();
        say("product", m.getDatabaseProductName() + " " + m.getDatabaseMajorVersion());
        try (ResultSet r = m.getTables(null, "public", "%", new String[] {"TABLE"})) {
            StringBuilder out = new StringBuilder();
            while (r.next()) out.append(r.getString("TABLE_NAME")).append(" ");
            say("tables", out);
        }
        try (ResultSet r = m.getColumns(null, "public", "j", "%")) {
            StringBuilder out = new StringBuilder();
            while (r.next()) out.append(r.getString("COLUMN_NAME")).append(" ").append(r.getString("TYPE_NAME")).append(",");
            say("columns", out);
        }
        try (ResultSet r = m.getSchemas()) {
            StringBuilder out = new StringBuilder();
            while (r.next()) out.append(r.getString(1)).append(" ");
            say("schemas", out);
        }
    }

    /** Every method of the metadata, with a table's name where one belongs: those that fail, and not by the driver's own decision. */
    static void metadata(Connection c) throws Exception {
        DatabaseMetaData m = c.getMetaData();
        int asked = 0;
        StringBuilder failed = new StringBuilder();
        java.lang.reflect.Method[] methods = DatabaseMetaData.class.getMethods();
        Arrays.sort(methods, Comparator.comparing(java.lang.reflect.Method::toString));
        for (java.lang.reflect.Method method : methods) {
            if (method.getDeclaringClass() != DatabaseMetaData.class) continue;
            for (String table : new String[] {"j", null, "%"}) {
                Class<?>[] types = method.getParameterTypes();
                Object[] values = new Object[types.length];
                for (int i = 0; i < types.length; i++) {
                    if (types[i] == String.class) values[i] = i % 3 == 0 ? null : i % 3 == 1 ? "public" : table;
                    else if (types[i] == int.class) values[i] = DatabaseMetaData.bestRowTransaction;
                    else if (types[i] == boolean.class) values[i] = false;
                }
                try {
                    Object found = method.invoke(m, values);
                    if (found instanceof ResultSet) rows((ResultSet) found);
                    asked++;
                } catch (java.lang.reflect.InvocationTargetException e) {
                    boolean isDrivers = e.getCause() instanceof SQLFeatureNotSupportedException
                        || e.getCause() instanceof NullPointerException && table == null; // it insists on a name
                    if (!isDrivers) failed.append(method.getName()).append(" ").append(e.getCause().getMessage().replace("\n", " ")).append("; ");
                }
                if (types.length == 0) break;
            }
        }
        say("asked", asked > 150);
        say("failed", failed);
        try (ResultSet r = m.getPrimaryKeys(null, "public", "j")) { say("keys", rows(r)); }
        try (ResultSet r = m.getIndexInfo(null, "public", "j", true, false)) { say("index", rows(r)); }
        try (ResultSet r = m.getBestRowIdentifier(null, "public", "j", DatabaseMetaData.bestRowSession, false)) { say("best row", rows(r)); }
        try (ResultSet r = m.getImportedKeys(null, "public", "j")) { say("imported", rows(r)); }
        try (ResultSet r = m.getTypeInfo()) { say("types", rows(r).contains("float8|8|")); }
        try (ResultSet r = m.getTablePrivileges(null, "public", "j")) { say("privileges", rows(r)); }
        try (ResultSet r = m.getFunctions(null, null, "date_bin")) { say("functions", r.next() ? r.getString("FUNCTION_NAME") : ""); }
    }

    /** PREPARE and EXECUTE by the extended protocol, also in binary. */
    static void prepared(Connection c) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("PREPARE q (bigint) AS SELECT v, v + $1 AS w FROM m WHERE v < 3 ORDER BY v");
            boolean same = true;
            for (int n = 0; n < 8; n++) {
                try (PreparedStatement p = c.prepareStatement("EXECUTE q(10)"); ResultSet r = p.executeQuery()) {
                    same &= r.getMetaData().getColumnName(2).equals("w") && rows(r).equals("0|10;1|11;2|12;");
                }
            }
            say("executed", same);
            s.execute("DEALLOCATE q");
            try { s.execute("EXECUTE q(1)"); } catch (SQLException e) { say("gone", e.getSQLState()); }
            try { s.execute("PREPARE q AS SELECT nope"); } catch (SQLException e) { say("refused", e.getSQLState()); }
            try (ResultSet r = s.executeQuery("SELECT 1")) { say("goes on", rows(r)); }
        }
    }

    public static void main(String[] a) throws Exception {
        try (Connection c = DriverManager.getConnection(a[0], a[1], a[2])) {
            for (String what : a[3].split(",")) {
                if (what.equals("types")) types(c);
                if (what.equals("fetch")) fetch(c);
                if (what.equals("copy")) copy(c);
                if (what.equals("catalogue")) catalogue(c);
                if (what.equals("metadata")) metadata(c);
                if (what.equals("prepared")) prepared(c);
            }
        }
    }
}
