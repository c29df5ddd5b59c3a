public class Main {
    public static void main(String[] arguments) throws Exception {
        Loop.serve(new Since0_10());
    }
}
