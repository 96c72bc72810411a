/* main.c - the program's entry: picks the command from the table in cli.c and runs it. */
int main(void)
{
    return 0;
}
