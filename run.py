from thrifty.cli import run

if __name__ == "__main__":
    run()
